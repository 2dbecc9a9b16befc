"""Tools that look for a broken promise. README.md tells what each proves, and what it does not."""
