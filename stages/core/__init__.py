"""What two rooms or more share. Core imports no room."""
