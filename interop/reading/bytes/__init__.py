"""Where a model's bytes lie, and how they are had: mapped, fetched, refused."""
