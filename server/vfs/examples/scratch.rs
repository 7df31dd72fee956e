use lockgate_vfs::*;
use lockgate_model::*;
use std::time::{Duration,Instant};
#[tokio::main(flavor="multi_thread", worker_threads=2)]
async fn main(){
    let dir=std::path::PathBuf::from(std::env::args().nth(1).unwrap());
    std::fs::create_dir_all(&dir).unwrap();
    for d in [Durability::Rename,Durability::Full]{
        let st=Storage::new(StorageSettings{durability:d,upload_keep:Duration::from_secs(10)},Default::default());
        let tree=TreeSpec{owner:UserName::new("a").unwrap(),mounts:vec![MountSpec{at:VPath::root(),source:dir.clone(),make:true,permissions:Permissions::full(),counts:true}],rules:vec![],otherwise:Permissions::full(),quota:Some(ByteSize(1<<40))};
        let v=st.open(tree,"s".into()).await.unwrap();
        let p=VPath::parse("/big").unwrap();
        let buf=vec![7u8;256*1024];
        for _ in 0..3 {
        let t=Instant::now();
        let mut u=v.create(&p,Intent::Create,OnAbort::Discard).await.unwrap();
        for i in 0..4096u64{u.write_at(i*262144,&buf).await.unwrap();}
        let w=t.elapsed();
        u.commit().await.unwrap();
        println!("{d:?} 1GiB write {w:?} total {:?}",t.elapsed());
        }
        let t=Instant::now();
        for i in 0..2000{ let mut u=v.create(&VPath::parse(format!("/f{}",i%500)).unwrap(),Intent::Create,OnAbort::Discard).await.unwrap(); u.write_at(0,&buf[..4096]).await.unwrap(); u.commit().await.unwrap(); }
        println!("{d:?} small {:?} each",t.elapsed()/2000);
        let t=Instant::now();
        let mut hs=vec![]; for j in 0..8{ let v=v.clone(); let buf=buf.clone(); hs.push(tokio::spawn(async move{ for i in 0..250{ let mut u=v.create(&VPath::parse(format!("/g{j}-{i}")).unwrap(),Intent::Create,OnAbort::Discard).await.unwrap(); u.write_at(0,&buf[..4096]).await.unwrap(); u.commit().await.unwrap(); }}));}
        for h in hs{h.await.unwrap();}
        println!("{d:?} small x8 {:?} each",t.elapsed()/2000);
        let t=Instant::now();
        for i in 0..2000{ let r=v.open(&VPath::parse(format!("/f{}",i%500)).unwrap()).await.unwrap(); let mut b=[0;8192]; r.read_at(0,&mut b).await.unwrap(); }
        println!("{d:?} fetch {:?} each",t.elapsed()/2000);
        let t=Instant::now();
        let r=v.open(&p).await.unwrap(); let mut b=vec![0;1<<20]; let mut o=0; loop{let n=r.read_at(o,&mut b).await.unwrap(); if n==0{break} o+=n as u64;}
        println!("{d:?} read 1GiB {:?}",t.elapsed());
        v.remove_tree(&VPath::parse("/big").unwrap()).await.unwrap();
    }
}
