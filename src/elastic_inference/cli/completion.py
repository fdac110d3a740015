"""`ei completion`: scripts that let shells complete commands.

Each asks `ei __complete WORDS...` what may stand in the place of the last word, so that commands,
options and ids are those of this version and pool; where that has no answer, files are completed.
"""

from __future__ import annotations

import argparse

_BASH = r"""
_ei() {
    local IFS=$'\n' found
    found=$("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f 1)
    COMPREPLY=($(compgen -W "$found" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _ei ei
"""
_ZSH = r"""
#compdef ei
_ei() {
    local line
    local -a found
    for line in "${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        [[ -n $line ]] && found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    if (( ${#found} )); then
        _describe -t ei ei found
    else
        _files
    fi
}
compdef _ei ei
"""
_FISH = r"""
function __ei_complete
    set -l words (commandline -opc) (commandline -ct)
    $words[1] __complete $words[2..-1] 2>/dev/null
end
complete -c ei -f -n 'test (count (__ei_complete)) -gt 0' -a '(__ei_complete)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def main(options: argparse.Namespace) -> int:
    print(_SCRIPTS[options.shell].strip())
    return 0
