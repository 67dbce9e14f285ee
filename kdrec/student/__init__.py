"""A student to take home: distilled, saved in transformers' form, examined, written about, registered, and asked.

`order` settles what is distilled, `taking` does it and calls the rest: `folder` saves and opens, `facts` is what a
student says of itself, `graph` makes it an ONNX graph, `passes` runs and times models, `examination` compares it with
its teacher, `card` writes that down, `answers` asks it about a table. Importing this package loads nothing heavy.
"""
