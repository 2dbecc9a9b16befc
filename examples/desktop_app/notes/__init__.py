"""Text files in one window: an application that runs once for each user and data folder."""
