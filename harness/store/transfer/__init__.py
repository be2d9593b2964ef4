"""`harness results`: exchange of rows between stores. Rows are copied unchanged, under the key of
everything that their scores depend on."""
