"""The accuracy laboratory: what each switch of STA is worth, on videos whose labels are known."""
