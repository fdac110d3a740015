"""Running programs with fewer rights: under users of their own, with a view of their own.

`users` gives user ids away and ends what runs under one; `launcher` makes the command line that
becomes such a program; `enter` is the small program in between; `files` writes and reads in
directories of users that are not trusted; `shared` keeps a directory for a group of them.
"""
