"""What every command uses: errors, files written whole, progress, how it starts and ends."""
