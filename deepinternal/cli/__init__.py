"""The console command `deepinternal`; the programs of `launch` are parts of it."""
