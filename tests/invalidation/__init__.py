"""What must and what must not cause a rerun: tiny projects that are edited between two processes.

    cases/*.diff     the cases, a file for each topic
    reading.py       from their text to the project before and after the edit
    writing.py       from there to files on disk, with distributions, zip files and bytecode
    probe.py         runs `step` in a process that is forked for it, and sees whether its body ran
    test_cases.py    asks all that must hold of each case
    programs.py      the generator of random programs for test_fuzz.py and scripts/fuzz

A case is the project as a diff. Two characters open each line: blanks if it is there before and after the edit, `- ` if
only before, `+ ` if only after. A file that has no line is not there.

    === a constant that the step names: reruns
      call: step(2)
    --- job.py
    - RATE = 2
    + RATE = 3

      @task
      def step(x):
          return RATE * x

The title ends with the decision: `reruns` or `hits`. The task under test is `step` in `job.py`. A bare `@task` caches
by CODE if the function takes nothing, else by PURE, and what must be imported for it is put at the top. Lines before
the first file are options, of which each may differ before and after:

    call: step(2)              what is called in the namespace of job.py; default: step()
    run: python -m pkg.job     in a process of its own, as typed; default: import job; import pkg.job
    body: work                 the name of the function of the task, if it isn't step
    in: elsewhere              the folder of the project; default: project
    cwd: data                  the working directory, in that folder; default: the folder itself
    dist: fake-lib 1.0 fakelib.py      an installed distribution and its file or folder in site-packages
    editable: mylib 1.0 src            one that is installed from a folder of the project

Files with special names: `cell 1` is a cell of a notebook, `typed 1` was typed at the prompt of Python, where no source
is left, `between` is run as a cell between two calls in the same process, `lib.zip/helper.py` lies in a zip file,
`helper.pyc` is the bytecode of the text shown, without its source.
"""
