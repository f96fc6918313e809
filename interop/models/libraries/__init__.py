"""What is true of one library alone: how its models are built, listed, fed and saved."""
