"""Tools that look for broken promises. README.md says what each of them proves, and what it does not."""
