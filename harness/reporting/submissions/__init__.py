"""A board of many people: what one of them sends (`folder`), made from a store (`make`) and checked
(`check`), and the static site of all of them (`pages`)."""
