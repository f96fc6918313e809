"""torchaudio's models."""
