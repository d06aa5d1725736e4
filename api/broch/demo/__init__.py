"""The demo of `broch up`: real open data, seven people, two projects, a worked notebook and a script to bring in."""
