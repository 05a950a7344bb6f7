"""What `stdlib_report.py` is made of: measuring source files, adding up, drawing, laying out the page.

Everything here is a plain function of its arguments and knows nothing of kept; what is a task, and under
which key its result is kept, is said in `stdlib_report.py` alone.
"""
