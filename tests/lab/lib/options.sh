# The options of with-lab and up, which are the same.

PLANT=()   # faults to plant at the start
WITH_TRUST= # a second forest beside the first
COMMAND=() # what follows the options

read_options() {
    while [ $# -gt 0 ]; do
        case $1 in
        --seed) draw_world "$2"; shift 2 ;;
        --world) . "$2"; shift 2 ;;
        --one-dc) DCS=(dc1); shift ;;
        --with-2010) SERVERS+=(ex10); shift ;;
        --with-trust) WITH_TRUST=yes; shift ;;
        --plant) IFS=, read -ra PLANT <<<"$2"; shift 2 ;;
        --faulty) mapfile -t PLANT < <(faulty_faults); shift ;;
        --) shift; break ;;
        --*) die "unknown option $1; see the head of with-lab" ;;
        *) break ;;
        esac
    done
    COMMAND=("$@")
}
