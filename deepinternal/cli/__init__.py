"""The console command `deepinternal` and its programs, which `launch` also starts."""
