//! Handles signals: removes unfinished outputs, then lets the signal end the process as usual.

#[cfg(unix)]
pub(crate) fn leave_no_halves() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::emulate_default_handler;

    // Without handlers the signals still end the process, but leave unfinished files.
    let Ok(mut signals) = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM]) else { return };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            eightfold::host::output_file::abandon();
            let _ = emulate_default_handler(signal);
        }
    });
}

#[cfg(not(unix))]
pub(crate) fn leave_no_halves() {}
