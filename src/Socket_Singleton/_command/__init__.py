"""What ``python -m Socket_Singleton`` alone imports: the parser, and a file for each longer subcommand."""
