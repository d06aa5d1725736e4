"""What is shown inside a workspace; standard library only until JupyterLab starts."""
