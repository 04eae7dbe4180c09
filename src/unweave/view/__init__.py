"""What a person looks at: tables for the terminal and one self-contained page, made from the files of runs alone."""
