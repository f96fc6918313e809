"""The stored elements themselves: their types, what they range over, how two tensors differ."""
