"""`harness results`: what one store gives to another. Rows go as they are, under the key of all
that their scores depend on."""
