"""Small servers in the languages of the stacks they show, and how they are built and shared."""
