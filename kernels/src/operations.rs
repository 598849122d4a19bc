//! Methods of types of several numbers, from lists of what each does to a number or a
//! register.
//!
//! [`each`] is for arrays, [`wide`] for one register of x86-64 and [`halves`] for two;
//! [`arithmetic`] lists what arrays of every type and trait have in common. They stand within
//! the `impl` of a trait. A file that uses the latter two says why its registers are there.

/// Methods of an array, number by number.
macro_rules! each {
    ($($name:ident($($arg:ident),*) = $body:expr;)*) => {
        $(#[inline(always)]
        fn $name(self $(, $arg: Self)*) -> Self {
            let a = self.0;
            Self(std::array::from_fn(|l| ($body)(a[l] $(, $arg.0[l])*)))
        })*
    };
}

/// The arithmetic of arrays of a type of numbers, `FMA` in scope.
macro_rules! arithmetic {
    ($number:ty) => {
        each! {
            add(o) = |a: $number, o: $number| a + o;
            sub(o) = |a: $number, o: $number| a - o;
            mul(o) = |a: $number, o: $number| a * o;
            madd(b, c) = |a: $number, b: $number, c: $number| {
                if FMA { a.mul_add(b, c) } else { a * b + c }
            };
            min(o) = |a: $number, o: $number| if a < o { a } else { o };
            max(o) = |a: $number, o: $number| if a > o { a } else { o };
        }
    };
}

/// Methods of one register.
#[cfg(target_arch = "x86_64")]
macro_rules! wide {
    ($($name:ident($($arg:ident),*) = $body:expr;)*) => {
        $(#[inline(always)]
        fn $name(self $(, $arg: Self)*) -> Self {
            let a = self.0;
            $(let $arg = $arg.0;)*
            // SAFETY: see the head of the module that lists the methods.
            Self(unsafe { $body(a $(, $arg)*) })
        })*
    };
}

/// Methods of two registers.
#[cfg(target_arch = "x86_64")]
macro_rules! halves {
    ($($name:ident($($arg:ident),*) = $body:expr;)*) => {
        $(#[inline(always)]
        fn $name(self $(, $arg: Self)*) -> Self {
            // SAFETY: see the head of the module that lists the methods.
            unsafe { Self($body(self.0 $(, $arg.0)*), $body(self.1 $(, $arg.1)*)) }
        })*
    };
}
