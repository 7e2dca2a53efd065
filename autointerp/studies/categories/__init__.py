"""The study `categories`: features that tell probe texts from matched controls, and how far features keep to languages and registers."""
