"""Release: approved bytes cross once, with a record and a receipt; downloads by single-use tickets."""
