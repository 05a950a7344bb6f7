"""Blocks: typed configuration, saved under a name and loaded anywhere on this machine.

`core` has the base class of users' blocks, `system` the block `Secret`, `fields` types of fields. `saving` is what
makes a class savable, with or without pydantic; `documents` is where they lie, `values` how what they hold is written
down, `keys` how secrets are encrypted. What a block does with its configuration belongs to the block.
"""
