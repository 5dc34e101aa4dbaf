package engine

// A few ids fill a chunk, so that they can leave.
func init() { leastChunk = 8 }
