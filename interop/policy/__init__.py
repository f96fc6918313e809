"""What a candidate has to be, as a file says it: keys, values and where each came from, waivers."""
