"""Arrays in, arrays out: pure image operations, jit-, vmap- and grad-able, float32."""
