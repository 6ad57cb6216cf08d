"""Work on .ncx files without their audio: packets, codes, time. Importing it needs no torch."""
