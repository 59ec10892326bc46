"""The tables and figures of the papers of MCR and MIA-Net, as data, and what runs them.

`catalog` names them, `plan` turns one into runs, `work` trains what is missing,
`cells` makes the table of what there is, and `render` shows it.
"""
