"""Tools that look for a broken promise. README.md here tells what each of them proves, and what it does not."""
