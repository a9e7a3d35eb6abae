"""What flash.sh does: of a board in a box it makes a bracelet that has raised a drill, and updates those in use."""
