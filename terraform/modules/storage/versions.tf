terraform {
  # 1.9: a variable's rule may speak of other variables. OpenTofu of the same number knows it too.
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}
