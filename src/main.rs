use std::sync::{Arc, atomic::AtomicBool};
use sweepfit::{dataset, formula, law, problem, solve};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let cat = law::Catalogue::built_in().unwrap();
    let law = cat.get(&a[2]).unwrap().clone();
    let loss: problem::Loss = a[3].parse().unwrap();
    let residual = if a[4] == "log" { law::Residual::Log } else { law::Residual::Linear };
    let h = dataset::inspect(&[a[1].clone()]).unwrap();
    let columns = vec!["loss".to_string(), "N".into(), "D".into()];
    let by: Vec<String> = a.get(5).filter(|s| !s.is_empty()).into_iter().cloned().collect();
    let condition = a.get(6).map(|c| formula::parse_condition(c).unwrap());
    let req = dataset::Request { inputs: vec![a[1].clone()], by, columns: columns.clone(), order: columns.clone(), condition, ..Default::default() };
    let d = dataset::read(&h, &req, &AtomicBool::new(false)).unwrap();
    let models = solve::Models::compile(law.clone(), residual);
    println!("{:?}\ninstr {} {} {} regs {} recipes {:?}", models.full().coordinates, models.full().value.instructions.len(), models.full().gradient.instructions.len(), models.full().hessian.instructions.len(), models.full().hessian.n_registers, models.full().recipes);
    for i in &models.full().gradient.instructions { println!("{i:?}"); }
    println!("{:?}", models.full().gradient.outputs);
    let b = problem::Binding { names: columns, used: vec![0, 1, 2], response: law.response.clone(), weight: None, sigma: None };
    let mut batch = solve::Batch::default();
    for i in 0..d.n_sweeps() {
        let s = d.sweep(i);
        let (o, rej) = problem::Observations::bind(&law, models.full(), &b, &s);
        let p = problem::Problem::new(models.full().clone(), Arc::new(o), loss);
        let t = std::time::Instant::now();
        let f = solve::fit(&models, p, &Default::default(), &mut batch);
        println!("{:?} {} n={} rej={} f={:.15e} {:?} cond {:.3e} agree {}/{} it {} {:?}", f.status, f.message, f.problem.n(), rej.len(), f.objective(), f.natural, f.identification.condition, f.n_agreeing, f.n_starts, f.iterations, t.elapsed());
        println!("   {:?}", f.solution.map(|s| s.certificate));
    }
}
