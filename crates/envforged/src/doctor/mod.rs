//! stub
pub(crate) fn run(_: &crate::args::DoctorArguments) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("x")
}
