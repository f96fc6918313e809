"""Coverage-guided fuzzing of every reader, of the pickle machine, of the policy and of the gate.

    make fuzz                                       (after the hypothesis suites, on two processes)
    python -m tests.fuzz.guided --list
    python -m tests.fuzz.guided read-onnx -max_total_time=60
    python -m tests.fuzz.guided --all --seconds 600 --jobs 2 --findings findings
    python -m tests.fuzz.guided --replay findings/read-onnx@KeyError-...

`targets.py` is the table. A target turns bytes into a run of interop and raises Finding where
something that must hold does not. Inputs that reached new code are kept and mutated further, by
atheris, which needs Linux; seeds are made at run time from the corpus in fixtures/. test_guided.py
runs each target a few hundred times without atheris.
"""
