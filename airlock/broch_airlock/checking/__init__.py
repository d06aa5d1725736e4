"""From submission to review: runs the checks, keeps their answers, decides what follows from them."""
