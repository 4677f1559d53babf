"""Set-up: quiet imports, the folder of prepared data, and how datasets and pretrained weights get there."""
