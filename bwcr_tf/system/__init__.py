"""What every command stands on: errors, whole files, progress, and how a command ends."""
