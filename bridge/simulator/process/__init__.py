"""What every part of the process uses: ids, clock, timers, the files of the work directory."""
