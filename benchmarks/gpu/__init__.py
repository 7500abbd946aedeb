"""One prepared run that measures everything on a GPU in a few minutes.

    python -m benchmarks.gpu OUT --minutes 9 [--data DIR] [--only PART ...]

Its parts, in order of worth:

    tests               the tests that need a GPU: every stage on the device
    ceilings            matrix product and copy: what the device can do
    generator           images per second of the generator, beside the published way
    generator_training  steps per second, beside the published step
    reid_training       images per second of a re-ID training, beside stock torchreid
    evaluation          features, ranking and re-ranking at Market-1501's size
    synthesize          the whole stage, and its share outside the generator
    study               with --data: trainings at full size, as far as the time goes

Every part is a list of points, and writes one file, ``OUT/PART.json``, after each point. The run
stops itself in time, and the same command goes on where it stopped: a point that is done is not
measured again. A point that fails is recorded with its reason, and the next one follows, if need be
in a new process. No network is needed; ``--wheels`` prints the packages that the machine needs.
``--device cpu --tiny`` rehearses everything without a GPU, with numbers that mean nothing.

    schedule            points, files, time
    rates               images per second of a piece of work
    networks, stages    the parts
    __main__            the command
"""
