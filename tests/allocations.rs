//! What a fit allocates in the steady state: nothing, nor do its starts and replicates. Groups of fits allocate a little.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sweepfit::Error;
use sweepfit::engine::{self, Control, Job, LawText, Run};
use sweepfit::infer::{InferenceOptions, replicate};
use sweepfit::input;
use sweepfit::law::{Catalogue, Residual};
use sweepfit::optimize::{self, Models, Workspace};
use sweepfit::output::{Chunk, Sink};
use sweepfit::problem::{Loss, Problem, bind_columns};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
/// Bytes that are allocated and not freed.
static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all calls go to the system's allocator as they come.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many allocations `work` makes the second time.
fn allocations(mut work: impl FnMut()) -> usize {
    work();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    work();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

fn chinchilla(n: usize) -> (Models, Problem) {
    let law = Catalogue::built_in().unwrap().get("chinchilla").unwrap().clone();
    let models = Models::compile(law.clone(), Residual::Log);
    let runs: Vec<(f64, f64)> =
        (0..n as i32).map(|i| (1e8 * 1.6_f64.powi(i % 10), 2e9 * 2.2_f64.powi(i / 10 % 6 + i % 3))).collect();
    let noise = [0.004, -0.01, 0.006, 0.008, -0.008];
    let losses: Vec<f64> = runs
        .iter()
        .enumerate()
        .map(|(i, (n, d))| (1.69 + 406.4 / n.powf(0.34) + 410.7 / d.powf(0.28)) * (1.0 + noise[i % 5]))
        .collect();
    let n: Vec<f64> = runs.iter().map(|run| run.0).collect();
    let d: Vec<f64> = runs.iter().map(|run| run.1).collect();
    let columns: Vec<(&str, &[f64])> = vec![("loss", &losses), ("N", &n), ("D", &d)];
    let (problem, _) = bind_columns(&law, models.full(), &law.response, Loss::L2, &columns);
    (models, problem)
}

/// Takes results and keeps none.
struct Nothing;

impl Sink for Nothing {
    fn take(&mut self, _: Chunk) -> Result<(), Error> {
        Ok(())
    }
}

/// Allocations per sweep of a job on the fixture, from columns in memory to records.
fn per_sweep(pool: &rayon::ThreadPool, law: LawText, loss: Loss, bootstrap: usize) -> f64 {
    let never = AtomicBool::new(false);
    let job = Job {
        inputs: vec![concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/chinchilla_sweeps.parquet").to_string()],
        by: vec!["sweep".to_string()],
        laws: vec![law],
        loss: Some(loss.into()),
        bootstrap,
        ..Job::default()
    };
    let source = input::ParquetFiles::find(&job.inputs).unwrap();
    let plan = engine::plan(&job, &source).unwrap();
    let dataset = input::read(&source, &plan.request, &never).unwrap();
    let run = Run::new(&plan, dataset.contents.clone(), &job);
    let fits = || {
        engine::fit_all(&run, &mut std::iter::once(Ok(&dataset.rows)), &mut Nothing, &Control::default())
            .unwrap()
    };
    pool.install(|| allocations(fits)) as f64 / dataset.n_sweeps() as f64
}

// One test: the counter is the whole program's.
#[test]
fn fits_allocate_nothing_of_their_own() {
    let (models, problem) = chinchilla(60);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();

    let fit =
        optimize::fit(&models, problem.clone(), &optimize::FitOptions::default(), &mut Workspace::default());
    let replicates = |bootstrap: usize| {
        let options = InferenceOptions { bootstrap, ..InferenceOptions::default() };
        pool.install(|| {
            allocations(|| {
                let found = replicate(&models, &fit, &options, &[0; 32], &AtomicBool::new(false));
                assert_eq!(found.unwrap().n_failed(), 0);
            })
        })
    };
    assert_eq!(replicates(8192), replicates(4096), "replicates allocate");

    // As a job does it: fits share the vectors, and leave theirs when they are done with.
    let mut workspace = Workspace::default();
    let mut fits = |fits: usize, starts: usize| {
        let options = optimize::FitOptions { starts: Some(starts), ..optimize::FitOptions::default() };
        let mut problems = vec![vec![problem.clone(); fits]; 2];
        allocations(|| {
            for fit in optimize::fit_many(&models, problems.pop().unwrap(), &options, &mut workspace) {
                workspace.recycled.keep(fit);
            }
        })
    };
    let (few, many) = (fits(16, 512), fits(16, 1024));
    assert!(many.abs_diff(few) < 3, "{few} allocations for 16 fits from 512 starts, {many} from 1024");
    let (few, many) = (fits(8, 64), fits(16, 64));
    assert!(many.abs_diff(few) < 3, "{few} allocations for 8 fits, {many} for 16");
    assert!(many <= 16, "{many} allocations for a group of 16 fits");

    // A long fit's vectors do not come to be those of short fits, however many steps these take.
    let mut keep = |problems: Vec<Problem>| {
        let fits = optimize::fit_many(&models, problems, &optimize::FitOptions::default(), &mut workspace);
        fits.into_iter().for_each(|fit| workspace.recycled.keep(fit));
        LIVE.load(Ordering::Relaxed)
    };
    let long = vec![chinchilla(30_000).1];
    let short: Vec<Problem> = (0..16).map(|i| chinchilla(20 + 3 * i).1).collect();
    let first = keep(long.clone());
    (0..16).for_each(|_| {
        keep(short.clone());
        keep(long.clone());
    });
    let more = LIVE.load(Ordering::Relaxed).saturating_sub(first);
    assert!(more < 1 << 20, "{more} bytes are kept after long and short fits in turn");

    // Observations, estimates, standard errors and records included: what is left is the groups' own, of thirteen sweeps
    // here, and remarks on some of the fits.
    let chinchilla = LawText::Name("chinchilla".to_string());
    // Its starts are solved without its offset, as another law.
    let with_offset = LawText::Formula("loss ~ e + b*D^(-c) where e >= 0, b > 0".to_string());
    let huber = Loss::Huber { delta: 1e-3 };
    // What is known of a parameter without replicates takes vectors of its own, a few for each.
    for (law, loss, bootstrap) in [
        (&chinchilla, Loss::L2, 0),
        (&chinchilla, Loss::L2, 200),
        (&chinchilla, huber, 200),
        (&with_offset, Loss::L2, 0),
    ] {
        let per_sweep = per_sweep(&pool, law.clone(), loss, bootstrap);
        assert!(
            per_sweep < 100.0,
            "{per_sweep} allocations per sweep: {law:?}, {loss}, {bootstrap} replicates"
        );
    }
}
