"""Text: sources, tokenised contexts, token classes."""
