"""The program behind flash.sh: it turns a board in a box into a bracelet that has raised a drill, and updates bracelets
in use."""
