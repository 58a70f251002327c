"""`python -m deepinternal` is the console command `deepinternal`."""

from deepinternal.cli import console

if __name__ == "__main__":
    console.main()
