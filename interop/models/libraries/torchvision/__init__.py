"""torchvision's models."""
